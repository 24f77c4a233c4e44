resource "aws_glue_catalog_database" "lake" {
  name        = var.database
  description = "Shop traffic: raw as it arrived, and curated."
}

# The job creates the curated tables: they are Iceberg, and Terraform cannot declare the partitions of an Iceberg table.
resource "aws_glue_catalog_table" "raw" {
  name          = var.raw_table
  database_name = aws_glue_catalog_database.lake.name
  description   = "Records of stream 1 as they arrived, with duplicates and invalid ones."
  table_type    = "EXTERNAL_TABLE"

  # Athena computes the partitions: no crawler is needed, and a new day is visible at once.
  parameters = {
    "EXTERNAL"                       = "TRUE"
    "classification"                 = "json"
    "projection.enabled"             = "true"
    "projection.arrival_date.type"   = "date"
    "projection.arrival_date.format" = "yyyy-MM-dd"
    "projection.arrival_date.range"  = "2025-01-01,NOW"
    "storage.location.template"      = "${local.raw_path}arrival_date=$${arrival_date}/"
  }

  partition_keys {
    name    = "arrival_date"
    type    = "date"
    comment = "UTC day on which Firehose received the record"
  }

  storage_descriptor {
    location      = local.raw_path
    input_format  = "org.apache.hadoop.mapred.TextInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
    compressed    = true

    ser_de_info {
      serialization_library = "org.openx.data.jsonserde.JsonSerDe"

      # An invalid record is a row of nulls here, and is in quarantine with the reason. It must not fail a query.
      parameters = { "ignore.malformed.json" = "TRUE" }
    }

    dynamic "columns" {
      for_each = var.raw_columns

      content {
        name       = columns.value.name
        type       = columns.value.type
        comment    = columns.value.personal ? "${columns.value.meaning}. Personal data" : columns.value.meaning
        parameters = columns.value.personal ? { personal = "true" } : {}
      }
    }
  }
}

locals {
  raw_path = "s3://${aws_s3_bucket.lake["raw"].bucket}/events/"
}
