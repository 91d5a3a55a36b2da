"""The run-time checker of annotations: as for a static checker, a whole number passes where a float is asked for."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
