"""Gymnasium environments on PyBullet: scenes, starts and scripted behaviours."""
