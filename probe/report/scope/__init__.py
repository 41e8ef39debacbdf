"""Reports of Weave Scope, read and written as JSON at the edge: both can be fed one world."""
