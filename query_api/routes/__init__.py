"""The routes of the API: each module makes a router for a Context."""
