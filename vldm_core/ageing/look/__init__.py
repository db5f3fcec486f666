"""How old film looks as a whole: stock, exposure, softness, grain, weave, fading."""
