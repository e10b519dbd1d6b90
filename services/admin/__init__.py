"""Commands for administrators: ``moderated-grading admin …``. One module per command; :mod:`.app` registers them."""
