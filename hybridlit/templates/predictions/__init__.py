"""From raw rows to predictions with names, and how far to trust them."""
