"""How an image was taken, in figures: what drift in the light or the lens moves."""

import cv2
import numpy as np

STATISTICS = ("brightness", "contrast", "saturation", "sharpness")


def measure(image: np.ndarray) -> tuple[float, ...]:
    """Return the STATISTICS of a uint8 RGB image (height, width, 3).

    Brightness and contrast are mean and standard deviation of grey levels (0 to 255), saturation the mean
    difference between the largest and the smallest channel (0 to 255), sharpness the standard deviation of
    the Laplacian of the grey levels.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    red, green, blue = cv2.split(image)
    largest, smallest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    saturation = cv2.mean(cv2.subtract(largest, smallest))[0]
    _, edges = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S, ksize=1))
    return float(mean[0, 0]), float(deviation[0, 0]), float(saturation), float(edges[0, 0])
