"""Genesys Web Services: access to it, for REST and CometD alike."""
