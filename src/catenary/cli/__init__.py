"""The command line: `main` and one file a command.

A command parses, calls the function of its name in `catenary.workflow`, and prints what came back. A new command
is a file here with a function of the same name, and one line in `catenary.cli.main.COMMANDS`.
"""
