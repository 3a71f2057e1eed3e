"""report: reads receipts and shows them; never makes them."""
