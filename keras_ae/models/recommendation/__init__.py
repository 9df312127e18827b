"""Models of who chose what: from a user's items to other items that the user may choose."""
