"""Commands for administrators: ``moderated-grading admin …``. A module per command; :mod:`.app` names them."""
