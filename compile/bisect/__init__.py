"""Where in the network a program goes wrong."""
