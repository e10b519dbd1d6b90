"""How far the graders of an assignment agree: figures, tables and small plots. Pure; nothing is stored."""
