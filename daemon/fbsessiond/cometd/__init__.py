"""The CometD source: notifications as GWS sends them."""
