"""The handlers that come with fbsessiond: ordinary plug-ins that import only its public names."""
