"""How many servers a load needs: an estimate in closed form."""
