"""The report's charts: their data and words, and how they are drawn."""
