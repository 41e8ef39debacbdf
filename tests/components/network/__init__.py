"""Networks and names, made by the programs that they are for."""
