"""What diffusion and the codec do with one photo, in pictures and figures that are computed from it.

subject   the photo and the small copy that noise is added to      forward    noise comes: chain, jump, histograms
reverse   noise goes: estimates, the bound in bits, the stream     spending   where the bytes of its .rgn go
drawing   strips of pictures, lines over time                      report     all of it, as PNG files and a page
"""
