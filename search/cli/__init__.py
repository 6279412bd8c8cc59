"""The commands: arguments in, one call, lines out. Decides nothing; whatever it does can be done from Python."""
