"""Passport: verifies the client's token and gives the service a signed passport."""
