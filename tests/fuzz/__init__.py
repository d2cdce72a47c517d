"""What strangers may send, made up by the million: no input may break what reads it."""
