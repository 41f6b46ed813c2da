"""What happens to one photo?"""
