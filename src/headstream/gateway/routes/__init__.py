"""The routes of the gateway: what clients send, what they read, and how it is operated."""
