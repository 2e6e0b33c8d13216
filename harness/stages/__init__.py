"""One program: its graph of stages, and the running of one."""
