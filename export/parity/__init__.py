"""How closely an exported model agrees with torch."""
