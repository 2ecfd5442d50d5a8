"""The HTML report: what passes did and what a network costs, as one page that fetches nothing."""
