"""How the program behaves on hostile inputs, flipped bits, kills and odd pictures (`... studies.reliability`)."""
