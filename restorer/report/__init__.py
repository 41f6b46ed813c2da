"""What do people look at? A photo with its faces numbered, and a page with the photos before and after."""
