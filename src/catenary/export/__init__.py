"""A trained network as a file of another program, with a description of what goes in and what comes out."""
