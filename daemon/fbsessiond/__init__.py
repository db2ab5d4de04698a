"""fbsessiond: watch Facebook private-messaging sessions on Genesys Web Services."""
