"""A GWS on this machine: sessions that live, operations, notifications by CometD, and faults to switch on."""
