"""How the zoo is made."""
