//! Conf → stores → edge → Pingora server: the only file that sees everything.
