"""Statistics of an image that change with the light or the lens."""

import math

import cv2
import numpy as np

STATISTICS = ("brightness", "contrast", "saturation", "warmth", "sharpness", "noise")


def measure(image: np.ndarray) -> tuple[float, ...]:
    """Return the STATISTICS of a uint8 RGB image (height, width, 3).

    Brightness and contrast are mean and standard deviation of grey levels (0 to 255), saturation the mean
    difference between the largest and the smallest channel (0 to 255), warmth the mean of red less that of
    blue (-255 to 255), sharpness the root mean square difference between a grey level and the mean of the 3x3
    pixels around it, noise the standard deviation without planes and edges, in grey levels.

    Source of the noise: Immerkaer, Fast Noise Variance Estimation, Computer Vision and Image Understanding 64
    (1996), 300-302.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    red, green, blue = cv2.split(image)
    largest, smallest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    saturation = cv2.mean(cv2.subtract(largest, smallest))[0]
    warmth = cv2.mean(red)[0] - cv2.mean(blue)[0]
    sharpness = cv2.norm(grey, cv2.blur(grey, (3, 3)), cv2.NORM_L2) / math.sqrt(grey.size)
    # The mask (1, -2, 1) both ways, the difference of two Laplacians, which planes and edges pass unseen
    rough = cv2.norm(cv2.Sobel(grey, cv2.CV_16S, 2, 2, ksize=3)[1:-1, 1:-1], cv2.NORM_L1)
    noise = math.sqrt(math.pi / 2) * rough / (6 * (grey.shape[0] - 2) * (grey.shape[1] - 2))
    return float(mean[0, 0]), float(deviation[0, 0]), saturation, warmth, sharpness, noise
