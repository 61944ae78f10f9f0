"""Files that `runner init` and `runner demo` write out."""
