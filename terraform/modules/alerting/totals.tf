# How many events of each date the detector has judged, and how many not, and why.
resource "aws_dynamodb_table" "totals" {
  name                        = var.totals_table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "day"
  range_key                   = "outcome"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "day"
    type = "S"
  }

  attribute {
    name = "outcome"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }
}
