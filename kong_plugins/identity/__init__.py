"""Identity: whose tokens are believed, and the passports that are issued for them."""
