"""The journal in SQL: what its engines have in common."""
