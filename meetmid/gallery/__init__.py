"""The gallery side: degradations, resolution matching, the enrolled store."""
