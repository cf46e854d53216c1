"""Hashing passwords in processes of its own: `processes` as a server sees them, `child` what runs in each."""
