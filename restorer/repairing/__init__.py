"""What is damaged in a print, and what belongs there?"""
