"""The expression language over one event, for deliveries and warehouses; docs/filters.md describes it.

Written here since no library fits: what is in the registries has another grammar (`==`, `&&`), makes a missing property an error
instead of null, knows only regular expressions, and takes 19 to 130 us a decoded event where this takes below one.
"""

from headrace.filters.evaluation import Filter, compile_filter
from headrace.filters.values import Value, compile_value

__all__ = ["Filter", "Value", "compile_filter", "compile_value"]
