"""How fast, how much, how sure? Measurements that anyone can repeat: `python -m restorer.bench NAME`."""
