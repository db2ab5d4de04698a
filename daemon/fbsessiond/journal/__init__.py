"""The journal: the durable record of everything that was seen and done."""
