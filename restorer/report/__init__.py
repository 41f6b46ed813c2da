"""What people look at: a photo with its faces numbered, and a page with the photos before and after."""
