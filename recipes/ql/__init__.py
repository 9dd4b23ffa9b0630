"""Shipped YAML documents; package data of f2yaml."""
