"""From a Summary to charts, a page and the console."""
