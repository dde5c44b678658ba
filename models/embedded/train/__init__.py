"""Training programs of the embedded family: all ``models/embedded/weights`` is made here."""
