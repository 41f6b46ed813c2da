"""What people look at: numbered faces, and the page with the photos before and after."""
